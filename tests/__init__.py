"""A package, so that `pytest` finds `tests.reference` and `rs` from the repository root."""
