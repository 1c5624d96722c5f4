"""The operator's own certificates: an authority, the leaf that is served, and their replacement without a gap.

`plan` decides what has to change (PURE but for the keys it makes), `issue` makes certificates, `bundle` is all of it as a
value and as the data of a Secret, `keeper` carries it out. `files` is what a server has that keeps no authority: `injector`
decides about the injector's, `folder` follows those that somebody else keeps. The package must not know a cluster client,
nor who serves the certificate.
"""
