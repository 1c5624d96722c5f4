from tidegate_testing.fixtures import no_authorities, simulator

__all__ = ["no_authorities", "simulator"]
