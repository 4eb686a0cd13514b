#ifndef GREETER_H
#define GREETER_H

char *greet(const char *name);
int host_name_length(void);

#endif
