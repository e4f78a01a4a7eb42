"""Making weights from a checkpoint: conversion, and calibration of the quantisation steps."""
