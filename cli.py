"""Run tfpt from a checkout: `python cli.py …` is `tfpt …`."""

from tfpt.commands.main import main

if __name__ == "__main__":
    main()
