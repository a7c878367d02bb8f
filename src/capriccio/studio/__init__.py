"""The site and the studio: pictures over HTTP, from one worker that paints for everybody in small batches.

``app`` puts the parts together; ``worker`` owns the device; ``painting`` turns recipes into files; ``site``, ``api``,
``runs`` and ``job_routes`` are the addresses. Needs the extra ``web``; only the command line imports this room.
"""
