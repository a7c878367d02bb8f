"""The site and the studio: pictures over HTTP, from one worker that paints for everybody in small batches.

``app`` puts the parts together; ``worker`` owns the device; ``painting`` turns recipes into files; the modules that
``app`` lists are the addresses. Needs the extra ``web``; only the command line imports this room.
"""
