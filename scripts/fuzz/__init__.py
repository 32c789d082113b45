"""Fuzzing of everything that reads bytes which somebody else wrote: ``make fuzz``.

A target is a module here with ``PARTS`` (what is to be covered), ``seeds()`` and
``run(data)``, which raises for nothing but a broken promise. ``tests/scripts`` runs every
target over a few hundred mutations of its seeds, so that none can rot.
"""

TARGETS = ("samples", "frames", "locks", "known_hosts", "ssh_config", "fleet_file")
