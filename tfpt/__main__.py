"""`python -m tfpt` is `tfpt`."""

from tfpt.commands.main import main

if __name__ == "__main__":
    main(prog_name="tfpt")
