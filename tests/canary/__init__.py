"""The makers of the canaries and of canary-speech; what they made is data of the package."""
