"""All that runs on a server: it travels there as one zipapp and needs nothing but Debian's Python, click and
psycopg.
"""
