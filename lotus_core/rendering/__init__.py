"""Pictures of maps: control hints, colours, normal conventions."""
