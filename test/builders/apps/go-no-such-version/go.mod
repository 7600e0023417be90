module x.org/a
