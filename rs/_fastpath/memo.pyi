"""What policies have found out about attribute sets. See memo.pyx for how it works."""

from typing import Self, final

@final
class Memo:
    """A cache from (attribute set, tag) to a value; owns no set, and forgets those that go."""

    def __new__(cls) -> Self: ...
