"""The built-in generator: the actor's own footage, re-used.

After Video Rewrite (Bregler, Covell, Slaney 1997) and Synthesizing Obama (Suwajanakorn, Seitz,
Kemelmacher-Shlizerman 2017): how this actor's mouth moves with sound is learnt from the original performance, and the
new mouth is built out of the actor's own frames.
"""
