"""What methods that edit parameters do, one file a method: imported when it is done."""
