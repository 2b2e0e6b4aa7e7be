"""The EEPROM: for cimport only."""
