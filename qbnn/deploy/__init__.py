"""Networks compiled into what runs without torch."""
