from tidegate_testing.fixtures import simulator

__all__ = ["simulator"]
