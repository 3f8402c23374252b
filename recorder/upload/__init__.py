"""The upload of one session: planned parts, their journal, and how they get to the server once.

parts       what a part is: one topic, one stream, the same bytes at every attempt
plan        where in a lane's records the next part ends
log         the journal: every step, durable before the next
state       what follows from the journal: how far each part came
rows        a part's record batches, from the spool
naming      names and metadata keys that every server takes
describe    what the server is told of a sequence and of a topic
delivery    one part to the server, by asking before and after each step
conclusion  the final record, the manifest and the end of the server's sessions
source      one session in the spool, looked at again and again
planner     which part is next
sequence    the recording on the server, found or made
session     all of it in order, for one session
backlog     every session that is not on the server yet
worker      look, choose, send, say so; one step after the other
permit      whether the upload may work by itself now: hours, metered networks
hours       times of the day
route       which interface leads to the server, and whether it is metered
traffic     the month's bytes and the pace
wake        waiting that a person or the network ends
content     the digest of what a topic holds
compare     what the server holds against what was sent
"""
