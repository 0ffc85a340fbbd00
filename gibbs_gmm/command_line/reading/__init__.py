"""From a file as it comes to a table of numbers, its rows' names and what is to be said of it."""
