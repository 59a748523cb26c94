"""Experts: trainings on the real samples whose parameters after every epoch trajectory matching imitates."""
