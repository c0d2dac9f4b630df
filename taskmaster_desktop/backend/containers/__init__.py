"""Workers in containers: images, profiles and what the engine says; nothing here knows the docker library."""
