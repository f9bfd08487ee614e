"""`rs` and `python -m rs`."""

from rs.cli import main

if __name__ == "__main__":
    main()
