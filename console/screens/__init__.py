"""One module a screen. A screen shows the picture that the beat hands it; it holds view state only."""
