"""Functions on many hosts: workers of Dask distributed, started over SSH and bound to the connection.

Who does what (docs/functions.md): the *conductor* holds the SSH connections and decides where
a block runs; the *runner* holds the Dask client and passes bytes; the *agent* on a host starts
the engine and ends with the connection; a *seat* is the process whose main thread computes.
Only the engine's own processes and the runner import ``distributed``.
"""
