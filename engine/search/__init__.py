"""Search trees and the lanes that run many of them in lockstep."""
