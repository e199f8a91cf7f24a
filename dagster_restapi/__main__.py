"""`python -m dagster_restapi`: the command."""

from dagster_restapi.cli.main import main

if __name__ == "__main__":
    main()
