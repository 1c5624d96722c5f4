"""What can go wrong: every text tells a person what happened and what to do."""


class ImageError(Exception):
    """Any expected failure of this package."""
