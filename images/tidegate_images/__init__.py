"""Builds Tidegate's container images, also where neither Docker nor a registry nor, inside a build, a package index is.

The Dockerfiles are plain ones: whoever has Docker needs nothing of this. Here they are built by buildah, without a
daemon, over a base made of Debian's own packages, from wheels that were fetched beforehand and are held to the hashes
of the lock files. Every archive is measured: what an image adds to its base has a limit.
"""
