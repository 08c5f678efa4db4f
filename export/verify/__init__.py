"""`worldmodel export verify`: does the artifact compute what its pipeline computes?"""
