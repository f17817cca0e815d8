"""Reports: the catalogue of ``queries/``, one SQL file each, and running them."""
