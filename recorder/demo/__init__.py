"""The demo: models of devices, the recorder, a ground station, and the proof that nothing is lost.

It judges from outside: by the models' own logs and by what the vendor's SDK reads back. The code
that judges shares nothing with the code that recorded but the reader of the spool.
"""

from recorder.demo.demo import demo

__all__ = ["demo"]
