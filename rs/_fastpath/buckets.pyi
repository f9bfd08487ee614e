"""A batch of changes. See buckets.pyx for how it works."""

from typing import Self, final

@final
class Buckets:
    """A batch of changes keyed by (attribute set, member set); holds no references."""

    def __new__(cls) -> Self: ...
