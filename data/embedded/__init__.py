"""Small real data sets, with their licences beside them."""
