"""Train the learned head, once, on other products than those it will inspect."""
