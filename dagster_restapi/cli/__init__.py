"""The command line, `dagster-restapi`: look at an API, write a first configuration, load it, see and reset cursors."""
