"""The fleet's side of the wire: what stations say is stored once, acknowledged after the commit, and counted."""
