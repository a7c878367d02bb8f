"""Everything one does with seeds, z, w and ws before a picture is drawn."""
