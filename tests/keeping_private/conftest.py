from tidegate_testing.fixtures import no_authorities

__all__ = ["no_authorities"]
