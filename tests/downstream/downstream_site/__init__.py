"""A server of the application's side, with handlers that tests choose."""
