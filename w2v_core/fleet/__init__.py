"""Many cards: each in a process of its own, judged against each other, merged exactly."""
