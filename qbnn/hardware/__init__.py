"""What networks cost and reach on a device with shots and noise."""
