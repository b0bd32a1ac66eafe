"""Reading Keras files and SavedModels without running what they hold, and naming their parts."""
