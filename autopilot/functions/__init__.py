"""Functions on the hosts of a fleet: sessions, the library's calls, and what ``sidestep run`` runs."""
