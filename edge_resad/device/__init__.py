"""The station at the line: camera, pipeline, spool, broker. Never imports torch."""
