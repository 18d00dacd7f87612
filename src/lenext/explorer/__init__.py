"""The explorer: a page that runs a network in the browser and shows every number that it computes."""
