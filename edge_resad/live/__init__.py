"""The operator's page: a program of its own beside the station, so that nothing on the page can harm the line."""
