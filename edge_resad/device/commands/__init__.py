"""What the fleet tells a running station: commands and settings over MQTT, each done once and written down."""
