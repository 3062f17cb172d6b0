"""What leaves the house: passports of published pictures, the page that reviews them, the service over HTTP."""
