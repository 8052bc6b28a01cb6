"""Two exercises for hostile students: of captures alone, and of answers; each with a hidden check that others need."""

SECRETS = ("secret-exchange",)

CAPTURE = """
title = "One [fetch] & <no> other"
edition = "spring"
kind = "capture"
host = "www.example.com"

[hand_in]
size = "1 MB"
frames = 5000
seconds = "10s"

[[rubric]]
id = "lookup"
rule = "dns.answered"
points = 2
hint = "Start the capture before curl."

[[rubric]]
id = "handshake"
rule = "tcp.handshake"
points = 2

[[rubric]]
id = "target"
title = "The page itself"
facts = { "exchange.target" = "/" }
points = 1
depends_on = ["handshake"]

[[rubric]]
id = "secret-exchange"
title = "A title that nobody may see"
rule = "http.exchange"
facts = { "exchange.status" = 200 }
points = 1
visibility = "hidden"

[[rubric]]
id = "close"
rule = "tcp.close"
points = 2
depends_on = ["secret-exchange"]

[[rubric]]
id = "sequence"
title = "The whole fetch"
points = 3
sequence = '''
lookup  A     NAME -> server
client  SYN
server  SYN,ACK
client  ACK
client  DATA     "GET"
server  DATA     "200"
client  FIN,ACK
server  FIN,ACK
client  ACK
'''
"""

ANSWERS = """
title = "Numbers | @all"
kind = "answers"
fractions = true

[hand_in]
size = "1 MB"
frames = 5000
seconds = "10s"

[[rubric]]
id = "handshake"
rule = "tcp.handshake"
points = 1.5

[[question]]
id = "isn"
text = "Which Seq has the SYN?"
fact = "segments[flags=SYN].raw_seq"
form = "either"
points = 2
slips = { other-side = 0.5, off-by-one = 1 }

[[question]]
id = "frames"
text = "Which frames close the connection?"
fact = "connection.close.frames"
points = 2

[[question]]
id = "rtt"
text = "How long is the way there and back?"
fact = "connection.rtt_s"
tolerance = 0.001
points = 1

[[question]]
id = "close"
text = "Who closed first?"
fact = "connection.close.first_closer"
points = 1

[[question]]
id = "name"
text = "Which name was looked up?"
fact = "lookup.name"
points = 1

[[question]]
id = "secret-question"
text = "A question that nobody may see"
fact = "exchange.target"
visibility = "hidden"
points = 1

[[question]]
id = "after"
text = "Which status has the response?"
fact = "exchange.status"
points = 0.25
depends_on = ["secret-question"]
"""
