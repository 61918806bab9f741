"""What the chapters run: experiments that return numbers, one package a chapter."""
