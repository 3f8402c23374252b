"""The box that is bolted into a vehicle: which one it is, and what is wrong with it.

`checkup` looks at a machine that is to record and says what keeps it from that; the other modules
each know one part of it. Every file is looked for below one root, so that a prepared folder can
stand for a machine. `identity` says which box this is, and is all that the processes need of this.
"""
